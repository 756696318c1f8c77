import type { Config } from '@flotilla/config'
import { type Logger, setLevel } from '@flotilla/log'

/**
 * Reads the settings again and takes over what can change while calls run: the level of the log. Names the others that
 * changed, which wait for a restart. Settings that cannot be read change nothing.
 */
export function reload(read: () => Config | undefined, running: Config, logger: Logger): void {
  let next: Config | undefined
  try {
    next = read()
    if (next === undefined) return
    setLevel(logger, next.logLevel)
  } catch (err) {
    logger.error({ err }, 'the configuration cannot be read again; the old one holds')
    return
  }
  const { logLevel, ...rest } = next
  const before: Partial<Record<string, unknown>> = { ...running }
  const waiting = Object.entries(rest).flatMap(([name, value]) =>
    JSON.stringify(value) === JSON.stringify(before[name]) ? [] : [name],
  )
  logger.warn({ logLevel, waiting }, 'configuration read again; what is waiting needs a restart')
}

/** Does that at each SIGHUP, until it is disposed. */
export function reloadOnHangup(read: () => Config | undefined, running: Config, logger: Logger): Disposable {
  const onSignal = () => reload(read, running, logger)
  process.on('SIGHUP', onSignal)
  return { [Symbol.dispose]: () => void process.off('SIGHUP', onSignal) }
}
