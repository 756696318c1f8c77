import { CreateImageRequest, UpdateImageRequest } from '@flotilla/api/containerd/services/images/v1/images'
import type { Descriptor as WireDescriptor } from '@flotilla/api/containerd/types/types'
import { type Call, hasCode, status } from '@flotilla/rpc'
import type { TransferDeps } from './deps.ts'

/** Gives content a name, whatever had it before. */
export async function saveImage(
  deps: TransferDeps,
  name: string,
  target: WireDescriptor,
  labels: Readonly<Record<string, string>>,
  call: Call,
): Promise<void> {
  const image = { name, target, labels: { ...labels } }
  for (;;) {
    try {
      await deps.images.create(CreateImageRequest.fromPartial({ image }), call)
      return
    } catch (error) {
      if (!hasCode(error, status.ALREADY_EXISTS)) throw error
    }
    try {
      await deps.images.update(UpdateImageRequest.fromPartial({ image }), call)
      return
    } catch (error) {
      // Removed in between.
      if (!hasCode(error, status.NOT_FOUND)) throw error
    }
  }
}
