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

function pinoLevel(level: string): string {
  if (!levels.some((known) => known === level)) throw new Error(`log level "${level}" is none of ${levels.join(', ')}`)
  // pino knows no panic; nothing here is more important than fatal.
  return level === 'panic' ? 'fatal' : level
}

/** Changes the least important level that is written, from the next line on. */
export function setLevel(logger: Logger, level: string): void {
  logger.level = pinoLevel(level)
}

/**
 * Makes the logger of a process. Errors belong in the field `err`.
 *
 * @throws Error when the level is none of {@link levels}
 */
export function createLogger(options: LoggerOptions): Logger {
  return pino(
    {
      name: options.name,
      level: pinoLevel(options.level),
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: serializeError },
    },
    options.destination ?? openDestination({ dest: 2, sync: true }),
  )
}
