export { createLogsService, type LogsDeps } from './logs-service.ts'
export { createNodeLogs, type NodeLogsDeps } from './node-logs.ts'
export { createStdioService, type StdioDeps } from './stdio-service.ts'
export { sweepLogs } from './sweep-logs.ts'
