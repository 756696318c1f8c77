import type { Config } from '@flotilla/config'
import { type Logger, setLevel } from '@flotilla/log'

/**
 * What may change while calls run. Whoever uses one of these reads it from the running configuration each time, so that
 * a call under way ends with what it began with and the next one has the new value.
 */
const live = new Set(['logLevel', 'sharingPolicy', 'diff.syncFs', 'gc', 'registry', 'restart'])

/**
 * Reads the settings again and takes over those that can change while calls run, in place. Names the others that
 * changed, which wait for a restart. Settings that cannot be read change nothing.
 */
export function reload(read: () => Config | undefined, running: Config, logger: Logger): void {
  try {
    const next = read()
    if (next === undefined) return
    setLevel(logger, next.logLevel)
    const { taken, waiting } = takeOver(next, running)
    logger.warn(
      { logLevel: next.logLevel, taken, waiting },
      'configuration read again; what is waiting needs a restart',
    )
  } catch (err) {
    logger.error({ err }, 'the configuration cannot be read again; the old one holds')
  }
}

/** Names by dotted path what differs: what was changed in `running`, and what may not be. */
function takeOver(next: object, running: object, path = '', isLive = false): { taken: string[]; waiting: string[] } {
  const taken: string[] = []
  const waiting: string[] = []
  const before: Record<string, unknown> = { ...running }
  const after: Record<string, unknown> = { ...next }
  for (const name of Object.keys({ ...before, ...after })) {
    const at = `${path}${name}`
    const old = before[name]
    const value = after[name]
    const mayChange = isLive || live.has(at)
    if (isGroup(value) && isGroup(old)) {
      const inner = takeOver(value, old, `${at}.`, mayChange)
      taken.push(...inner.taken)
      waiting.push(...inner.waiting)
    } else if (JSON.stringify(value) !== JSON.stringify(old)) {
      if (mayChange) Object.assign(running, { [name]: value })
      ;(mayChange ? taken : waiting).push(at)
    }
  }
  return { taken, waiting }
}

const isGroup = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Does that at each SIGHUP, until it is disposed. */
export function reloadOnHangup(read: () => Config | undefined, running: Config, logger: Logger): Disposable {
  const onSignal = () => reload(read, running, logger)
  process.on('SIGHUP', onSignal)
  return { [Symbol.dispose]: () => void process.off('SIGHUP', onSignal) }
}
