import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Mount } from '@flotilla/api/containerd/types/types'
import { type Call, makeCall } from '@flotilla/rpc'
import { type Bundle, removeBundle, writeBundleFile } from './bundle.ts'
import type { PreparedRootfs } from './deps.ts'
import type { Node } from './node.ts'

/** Says that mounts below the root file system go with the task. */
const mark = 'rootfs-mounts'

/** Milliseconds that undoing the mounts below a root file system may take. */
const releaseTimeout = 10_000

/** What a shim has to mount of a root file system, once the rest is made. What was made now is undone with the bundle. */
export async function prepareRootfs(
  { deps }: Node,
  bundle: Bundle,
  rootfs: readonly Mount[],
  call: Call,
): Promise<PreparedRootfs> {
  const prepared = (await deps.rootfsMounts?.prepare(bundle.id, rootfs, call)) ?? { rootfs, made: false }
  if (prepared.made) await markRootfs(bundle)
  return prepared
}

/** Has the mounts below the root file system undone with the bundle. */
export async function markRootfs(bundle: Bundle): Promise<void> {
  await writeBundleFile(bundle, mark, '')
}

/**
 * Removes the bundle of a task, then the mounts that its root file system lay upon. Those that cannot be undone now go
 * with the container, as do those of a crash between the two.
 */
export async function removeTaskBundle({ deps }: Node, bundle: Bundle): Promise<void> {
  const { id, namespace } = bundle
  const isMarked = existsSync(join(bundle.path, mark))
  await removeBundle(bundle)
  if (!isMarked) return
  await deps.rootfsMounts?.release(id, makeCall({ namespace, timeout: releaseTimeout })).catch((err: unknown) => {
    deps.logger.warn(
      { err, namespace, id },
      'mounts below the root file system of a task stay until its container goes',
    )
  })
}
