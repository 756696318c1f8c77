/** The rows of a table that `ctr` prints, header left out, split at runs of white space. */
export function rowsOf(printed: string): string[][] {
  const lines = printed.split('\n').filter((line) => line.trim() !== '')
  return lines.slice(1).map((line) => line.trim().split(/\s+/))
}

/** `a=b,c=d` in any order; Debian 12's ctr prints labels in the order of a Go map. */
export function labelsOf(printed: string): Record<string, string> {
  const pairs = printed.trim() === '-' || printed.trim() === '' ? [] : printed.trim().split(',')
  return Object.fromEntries(pairs.map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]))
}

/** Lines of logrus on standard error say the same as the last line, with a time; that line is the answer. */
export function lastLine(printed: string): string {
  return printed.trimEnd().split('\n').at(-1) ?? ''
}

/** Text as a regular expression that matches just it. */
export function literally(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&')
}

/** Takes away the class that a newer daemon leaves out: 1.6 printed `: unknown` after texts of no class. */
export function withoutUnknown(text: string): string {
  return text.replace(/: unknown$/, '')
}
