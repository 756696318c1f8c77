export type { TransferDeps } from './deps.ts'
export { createStreams, type Streams } from './streaming-service.ts'
export { createTransferService } from './transfer-service.ts'
