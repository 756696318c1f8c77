import { type CallObserver, status } from '@flotilla/rpc'
import type { Logger } from './logger.ts'
import { redact } from './redact.ts'

const names = new Map<number, string>(
  Object.entries(status).flatMap(([name, code]) => (typeof code === 'number' ? [[code, name] as const] : [])),
)

/** One line at debug for each finished call: what was asked, how long it took (milliseconds) and what came of it. */
export function requestLog(logger: Logger): CallObserver {
  return (record) => {
    if (!logger.isLevelEnabled('debug')) return
    const { service, method, namespace, code, message } = record
    logger.debug(
      {
        service,
        method,
        namespace,
        duration: Math.round(record.duration * 1_000) / 1_000,
        code: names.get(code) ?? String(code),
        ...(message === undefined || code === status.OK ? {} : { error: redact(message) }),
      },
      'request',
    )
  }
}
