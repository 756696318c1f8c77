import { type DestinationStream, destination as openDestination, pino, stdSerializers } from 'pino'
import { redact } from './redact.ts'

/** containerd's level names, least important first. */
export const levels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'panic'] as const
export type Level = (typeof levels)[number]

/** Logs as `logger.info({ node }, 'ready')`: fields first, then what happened. */
export type Logger = pino.Logger

export interface LoggerOptions {
  /** Least important level that is written. */
  readonly level: string
  /** Name of the process, on each line. */
  readonly name: string
  /** stderr by default. Written synchronously, so that the last line before a crash is there. */
  readonly destination?: DestinationStream
}

function serializeError(error: Error) {
  const plain = stdSerializers.err(error)
  return { ...plain, message: redact(plain.message), stack: redact(plain.stack) }
}

/**
 * Makes the logger of a process. Errors belong in the field `err`.
 *
 * @throws Error when the level is none of {@link levels}
 */
export function createLogger(options: LoggerOptions): Logger {
  if (!levels.some((level) => level === options.level))
    throw new Error(`log level "${options.level}" is none of ${levels.join(', ')}`)
  return pino(
    {
      name: options.name,
      // pino knows no panic; nothing here is more important than fatal.
      level: options.level === 'panic' ? 'fatal' : options.level,
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: serializeError },
    },
    options.destination ?? openDestination({ dest: 2, sync: true }),
  )
}
