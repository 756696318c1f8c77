export { createSnapshotsService, type SnapshotsDeps } from './service.ts'
