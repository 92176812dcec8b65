// The one-time link of the first key. Its token never leaves the browser but in the body of one request.

import { post, refusalOf, show } from "./ceremony.js";

const NAME = "link of the first key";
const message = document.getElementById("message");

if (location.hash.length > 1) {
  sessionStorage.setItem(NAME, location.hash.slice(1));
  history.replaceState(null, "", location.pathname);
}

const token = sessionStorage.getItem(NAME);
if (!token) {
  show(message, "This page needs the whole link, with what stands behind the #. Open it again as it was given to you.", { tone: "bad" });
} else if (document.getElementById("main").dataset.signedIn === "true") {
  sessionStorage.removeItem(NAME);
  post("/keys/first", { token }).then(
    ({ continue: next }) => location.assign(next),
    (error) => show(message, refusalOf(error, "open the link"), { tone: "bad" }),
  );
}
