// The pictures in the README, taken from the running program: node tests/browser/pictures.mjs

import { mkdir } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { ask, ended, openBrowser, openPerson, registerKey, signIn, startDemo } from "./support.mjs";

const folder = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../.github/pictures");

const plain = (name, value) => ({ name, value });
const secret = (name, key, version) => ({ name, valueSource: { secretKeyRef: { secret: key, version } } });

/** A request for the sandbox's service; the digest is any that looks like one. */
function request(digest, { env, memory, scaling }) {
  return {
    subject: {
      kind: "deployment",
      service: "projects/demo/locations/europe-west1/services/web",
      image: `europe-docker.pkg.dev/demo/app/web@sha256:${digest}`,
      template: { scaling, containers: [{ env, resources: { limits: { cpu: "1", memory }, cpuIdle: true } }] },
    },
  };
}

const earlier = request("6db7d803e74f1ffa7d8f5adc0bf95b3e15bf4c8373fffadf546227cc6c6742cb", {
  env: [
    plain("CHECKOUT_URL", "https://checkout.example.com/v1"),
    plain("LEGACY_TAX", "true"),
    secret("PAYMENT_SIGNING", "payment-signing", "6"),
  ],
  memory: "512Mi",
  scaling: { minInstanceCount: 1, maxInstanceCount: 20 },
});

const pending = {
  ...request("f39592393ef0859cb196a52693d2cea00fb2df784b3c04ae54aa7cadb8e562f8", {
    env: [
      plain("CHECKOUT_URL", "https://checkout.example.com/v2"),
      plain("EXPRESS_CHECKOUT", "on"),
      secret("PAYMENT_SIGNING", "payment-signing", "7"),
    ],
    memory: "1Gi",
    scaling: { minInstanceCount: 1, maxInstanceCount: 40 },
  }),
  title: "web 4.2: express checkout",
  reason: "Express checkout for returning customers. Version 2 of the checkout is live since Monday.",
  body: "Smoke tests are green on staging since this morning.\nLoad test: 1,200 requests per second, p99 180 ms.",
  links: [{ title: "Changes since 4.1", url: "https://github.com/demo/web/compare/v4.1...v4.2" }],
};

const demo = await startDemo();
const browser = await openBrowser();
try {
  const person = await openPerson(browser, { viewport: { width: 1200, height: 1000 }, reducedMotion: "reduce" });
  await signIn(demo, person, "alice", "/keys");
  await registerKey(demo, person, "alice", "Blue security key");
  const { page } = person;
  // What runs before comes from the gate as well, so that the page has something to compare with.
  const first = await ask(demo, earlier);
  await page.goto(first.url);
  await page.getByRole("button", { name: /^approve/i }).click();
  const outcome = await ended(demo, first.id);
  if (outcome.status !== "succeeded") throw new Error(outcome.status_sentence);
  const approval = await ask(demo, pending);
  await page.goto(approval.url);
  await mkdir(folder, { recursive: true });
  const main = page.getByRole("main");
  await page.locator("#approve:enabled").waitFor();
  for (const [colorScheme, name] of [["light", "approval"], ["dark", "approval-dark"]]) {
    await page.emulateMedia({ colorScheme });
    const changes = await main.getByRole("region", { name: "What changes" }).boundingBox();
    const height = Math.ceil(changes.y + changes.height + 10);
    await page.screenshot({ path: path.join(folder, `${name}.png`), clip: { x: 0, y: 0, width: 1200, height }, fullPage: true });
  }
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize({ width: 390, height: 844 });
  await page.screenshot({ path: path.join(folder, "phone.png") });
} finally {
  await browser.close();
  await demo.stop();
}
