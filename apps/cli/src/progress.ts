import { size } from './print.ts'

/** Long work as lines that are drawn again and again on a terminal; on anything else nothing is drawn. */
export interface Progress extends Disposable {
  update(name: string, state: { readonly event: string; readonly done: number; readonly total: number }): void
}

const barWidth = 20
/** Milliseconds between two drawings. */
const interval = 100

export function showProgress(stream: NodeJS.WriteStream = process.stderr): Progress {
  const lines = new Map<string, string>()
  let drawn = 0
  let dirty = false
  function draw(): void {
    if (!dirty) return
    dirty = false
    const up = drawn === 0 ? '' : `\x1b[${drawn}A`
    const width = stream.columns ?? 80
    stream.write(up + [...lines.values()].map((line) => `\x1b[2K${line.slice(0, width - 1)}\n`).join(''))
    drawn = lines.size
  }
  const timer = stream.isTTY ? setInterval(draw, interval) : undefined
  return {
    update(name, { event, done, total }) {
      // About the whole, which the lines of its parts show.
      if (name === '') return
      lines.set(name, lineOf(name, event, done, total))
      dirty = true
    },
    [Symbol.dispose]() {
      clearInterval(timer)
      if (timer) draw()
    },
  }
}

/** `layer-0123456789ab  downloading  ██████      12.0 MiB / 48.0 MiB` */
export function lineOf(name: string, event: string, done: number, total: number): string {
  const short = name.replace(/sha256:([0-9a-f]{12})[0-9a-f]+/, '$1')
  const label = short.length > 26 ? `${short.slice(0, 25)}…` : short
  const known = total > 0
  const filled = known ? Math.min(barWidth, Math.round((barWidth * done) / total)) : 0
  const bar = known ? `${'█'.repeat(filled)}${' '.repeat(barWidth - filled)}` : ' '.repeat(barWidth)
  return `${label.padEnd(26)} ${event.padEnd(11)} ${bar} ${known ? `${size(Math.min(done, total))} / ${size(total)}` : ''}`.trimEnd()
}
