export { type ContentService, type ContentServiceDeps, createContentService } from './content-service.ts'
export type { Peers as ContentPeers } from './peers/peers.ts'
