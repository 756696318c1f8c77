import type { DiffDefinition } from '@flotilla/api/containerd/services/diff/v1/diff'
import type { ServiceOf } from '@flotilla/rpc'
import { apply } from './apply.ts'
import { compare } from './compare.ts'
import type { DiffServiceDeps } from './deps.ts'
import { prepareTemporary } from './temporary.ts'

/** The diff service of a node. It begins by clearing away what a killed predecessor left in `tmpDir`. */
export function createDiffService(deps: DiffServiceDeps): ServiceOf<typeof DiffDefinition> {
  const prepared = prepareTemporary(deps.tmpDir)
  // Each call reports it; until one comes nobody is to be bothered.
  prepared.catch(() => {})
  return {
    async apply(request, call) {
      await prepared
      return await apply(deps, request, call)
    },
    async diff(request, call) {
      await prepared
      return await compare(deps, request, call)
    },
  }
}
