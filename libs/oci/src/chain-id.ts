import { createHash } from 'node:crypto'

/**
 * Identities of the trees that grow from the bottom, one for each layer.
 *
 * @param diffIds digests of the uncompressed layers, the bottom one first
 */
export function chainIds(diffIds: readonly string[]): string[] {
  const chain: string[] = []
  for (const diffId of diffIds) {
    const below = chain.at(-1)
    chain.push(
      below === undefined ? diffId : `sha256:${createHash('sha256').update(`${below} ${diffId}`).digest('hex')}`,
    )
  }
  return chain
}

/** Identity of the tree that all layers make, which is the name of its snapshot; empty without layers. */
export function topChainId(diffIds: readonly string[]): string {
  return chainIds(diffIds).at(-1) ?? ''
}
