export type { DiffServiceDeps } from './deps.ts'
export { createDiffService } from './diff-service.ts'
export { inOrder } from './in-order.ts'
export type { StreamProcessor } from './processors.ts'
