// Text that came over the network is quoted, never obeyed: the runner acts on
// lines that look like workflow commands, and GitHub renders the summary as
// Markdown with HTML.

// Control, bidirectional, zero-width and other invisible characters can hide or
// reorder what a person reads, and a newline could begin a workflow command.
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu;

/** One visible line of at most `limit` characters. */
export function oneLine(value, limit = 1000) {
  const line = String(value ?? '').replace(INVISIBLE, ' ').trim();
  return line.length > limit ? `${line.slice(0, limit)}…` : line;
}

/**
 * A line that the runner prints and does not act on. It knows two spellings of a
 * command: `::name::` at the start of a line and `##[name]` anywhere in it.
 */
export function inertLine(value) {
  return oneLine(value, 4000).replace(/^::/, ': :').replaceAll('##[', '## [');
}

/** The message of a workflow command (`::error::message`). */
export function commandMessage(value) {
  return inertLine(value).replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A');
}

/** A property of a workflow command (`title=` in `::error title=…::`). */
export function commandProperty(value) {
  return commandMessage(value).replaceAll(':', '%3A').replaceAll(',', '%2C');
}

const ENTITIES = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

/**
 * Text inside an HTML block. Markdown is not parsed inside such a block as long
 * as it holds no blank line, which `oneLine` sees to, so only HTML is escaped.
 */
export function html(value) {
  return oneLine(value).replace(/[&<>"']/g, (character) => ENTITIES[character]);
}

/** A web address, or `undefined` for anything that should not become a link. */
export function webAddress(value) {
  try {
    const address = new URL(String(value));
    return address.protocol === 'https:' || address.protocol === 'http:' ? address.href : undefined;
  } catch {
    return undefined;
  }
}
