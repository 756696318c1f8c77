export { highestRecordedId } from './recorded-ids.ts'
export { createSnapshotsService, type SnapshotsDeps } from './service.ts'
