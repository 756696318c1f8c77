import { NodeStatus } from '@flotilla/api/flotilla/cluster/v1/nodes'
import { LocalBlobsDefinition } from '@flotilla/api/flotilla/content/v1/content'
import { BlobsDefinition } from '@flotilla/api/flotilla/peer/v1/peer'
import type { ContentPeers } from '@flotilla/content'
import type { RegistryClient } from '@flotilla/registry'
import type { Host } from './part.ts'
import { fromSource } from './source.ts'

/** The other nodes, as this node's content store calls them. */
export function contentPeers(
  { metadata, onNode, onPeer, presence }: Pick<Host, 'metadata' | 'onNode' | 'onPeer' | 'presence'>,
  registries: RegistryClient,
): ContentPeers {
  return {
    ready: async () =>
      (await presence.nodes()).filter((node) => node.status === NodeStatus.NODE_STATUS_READY).map(({ name }) => name),
    isReady: (node) => presence.isReady(node),
    blobs: (node) => onPeer(BlobsDefinition, node),
    local: (node) => onNode(LocalBlobsDefinition, node),
    source: (wanted, offset, signal) => fromSource(metadata, registries, wanted, offset, signal),
  }
}
