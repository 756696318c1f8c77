export { addArriving, addBlobNode, arrivingNodes, blobNodes, removeArriving, removeBlobNode } from './blob-nodes.ts'
export { byBytes } from './byte-order.ts'
export { asked, type ConnectionOptions, connectRedis, isCluster, mapRedisError, together } from './connection.ts'
export { maxLabelBytes, validateLabels, withoutEmpty } from './labels.ts'
export { maskedKey, withMaskedKey } from './mask.ts'
export {
  claimNodeName,
  clusterSecret,
  cordonedNodes,
  expelNode,
  nobody,
  nodeNames,
  nodeRecord,
  nodeRecords,
  registerNode,
  removeNode,
  setCordoned,
  takeOverNodeName,
  wasRemoved,
} from './nodes.ts'
export type { Check, LoggedEvent, OutboxEvent, Outcome, Plan, Write } from './plan.ts'
export { encode, eventOf, type Update, updateRecord } from './records.ts'
export { createMetadata, type Metadata, type MetadataOptions } from './store.ts'
export {
  childrenTable,
  eventLogKey,
  eventPositionsKey,
  eventStateKey,
  keyOf,
  leaseTable,
  mountsTable,
  namespaceIndexKey,
  namespaceLogKey,
  parseResourceMember,
  parseStoreName,
  type Resource,
  resourceMember,
  snapshotTable,
  storeName,
  tables,
  trashTable,
} from './tables.ts'
export { fromMillis, now, toMillis } from './time.ts'
