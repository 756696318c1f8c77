import { StreamInit } from '@flotilla/api/containerd/services/streaming/v1/streaming'
import {
  AuthRequest,
  AuthResponse,
  Data,
  ImageExportStream,
  ImageImportStream,
  ImageStore,
  OCIRegistry,
  Progress,
  WindowUpdate,
} from '@flotilla/api/containerd/types/transfer/transfer'
import { Empty } from '@flotilla/api/google/protobuf/empty'

// What travels in the Anys of transfers and streams.

const transferType = <const N extends string, T>(name: N, type: T) => ({
  name: `containerd.types.transfer.${name}`,
  type,
})

export const authRequest = transferType('AuthRequest', AuthRequest)
export const authResponse = transferType('AuthResponse', AuthResponse)
export const data = transferType('Data', Data)
export const imageExportStream = transferType('ImageExportStream', ImageExportStream)
export const imageImportStream = transferType('ImageImportStream', ImageImportStream)
export const imageStore = transferType('ImageStore', ImageStore)
export const ociRegistry = transferType('OCIRegistry', OCIRegistry)
export const progress = transferType('Progress', Progress)
export const windowUpdate = transferType('WindowUpdate', WindowUpdate)
export const streamInit = { name: 'containerd.services.streaming.v1.StreamInit', type: StreamInit }
export const empty = { name: 'google.protobuf.Empty', type: Empty }
