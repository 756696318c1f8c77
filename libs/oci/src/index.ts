export { chainIds, topChainId } from './chain-id.ts'
export { type Compression, detectCompression } from './compression.ts'
export { checkedDescriptor, type Descriptor, isDigest, refOf } from './descriptor.ts'
export { sourcePrefix } from './labels.ts'
export {
  isManifestType,
  isNonDistributable,
  type Kind,
  kindOf,
  manifestTypes,
  mediaTypes,
} from './media-types.ts'
export { goArchitecture, hostPlatform, normalized, type Platform, rankOf } from './platform.ts'
