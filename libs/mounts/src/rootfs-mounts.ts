import { ActivateRequest } from '@flotilla/api/containerd/services/mounts/v1/mounts'
import type { Mount } from '@flotilla/api/containerd/types/types'
import { type Call, hasCode, status } from '@flotilla/rpc'
import { containerReference } from './back-references.ts'
import { planMounts } from './plan.ts'
import type { MountsService } from './service.ts'

/**
 * Activations for the root file systems of tasks, as containerd makes them since 2.2: under the id of the task, tied to
 * its container.
 */
export function rootfsMounts(mounts: Pick<MountsService, 'activate' | 'deactivate' | 'info'>) {
  return {
    async prepare(id: string, rootfs: readonly Mount[], call: Call) {
      if (planMounts(rootfs, false).ours < 0) return { rootfs, made: false }
      try {
        const request = { name: id, mounts: [...rootfs], labels: { [containerReference]: id } }
        const { info } = await mounts.activate(ActivateRequest.fromPartial(request), call)
        return { rootfs: info?.system ?? [], made: true }
      } catch (error) {
        if (!hasCode(error, status.ALREADY_EXISTS)) throw error
        // The client's own, or of an earlier task of the container.
        const { info } = await mounts.info({ name: id }, call)
        return { rootfs: info?.system ?? [], made: false }
      }
    },

    async release(id: string, call: Call) {
      await mounts.deactivate({ name: id }, call).catch((error: unknown) => {
        if (!hasCode(error, status.NOT_FOUND)) throw error
      })
    },
  }
}
