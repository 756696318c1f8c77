export { createLogger, type Level, type Logger, type LoggerOptions, levels, setLevel } from './logger.ts'
export { redact } from './redact.ts'
export { requestLog } from './request-log.ts'
