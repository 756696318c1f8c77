export { createNodePrepull, type NodePrepullDeps } from './node-prepull.ts'
export { createPrepullService, type PrepullDeps } from './prepull-service.ts'
