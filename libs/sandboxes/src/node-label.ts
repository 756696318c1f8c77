/** The label that says which node a sandbox is on. Written when its record is made, never changed. */
export const nodeLabel = 'flotilla.io/node'

/** Metadata by which a node's socket, or a caller at the cluster's endpoint, names a node. */
export const nodeHeader = 'flotilla-node'
