/** The path of a key or header as it is written: `plugins."io.containerd.gc.v1.scheduler".pause_threshold`. */
const partsOf = (text: string): string[] =>
  [...text.matchAll(/"([^"]*)"|'([^']*)'|([\w-]+)/g)].map(([, double, single, bare]) => double ?? single ?? bare ?? '')

const begins = (whole: readonly string[], with_: readonly string[]) => with_.every((part, at) => whole[at] === part)

/** The line of a TOML text, from 1, that sets a path or something below it, else what it is in; 0 when none is found. */
export function lineOf(text: string, path: readonly string[]): number {
  let section: string[] = []
  for (const [index, line] of text.split('\n').entries()) {
    const header = /^\s*\[+([^\]]+)\]/.exec(line)
    const key = /^\s*((?:"[^"]*"|'[^']*'|[\w.\s-])+?)\s*=/.exec(line)
    if (header) section = partsOf(header[1] ?? '')
    else if (!key) continue
    if (begins(header ? section : [...section, ...partsOf(key?.[1] ?? '')], path)) return index + 1
  }
  return path.length > 1 ? lineOf(text, path.slice(0, -1)) : 0
}
