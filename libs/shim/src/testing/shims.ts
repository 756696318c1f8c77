import { existsSync } from 'node:fs'
import { join } from 'node:path'

const unpacked = join(import.meta.dirname, '../../../../.work/containerd')

export interface ShimRelease {
  readonly name: string
  readonly path: string
  readonly present: boolean
}

function release(name: string, path: string): ShimRelease {
  return { name, path, present: existsSync(path) }
}

/**
 * The shims that tests run with: Debian 12's, those that `tools/install` unpacks, and one of 2.3 or later when
 * FLOTILLA_TEST_SHIM names it (Debian has none yet).
 */
export const shims: readonly ShimRelease[] = [
  release('1.6', '/usr/bin/containerd-shim-runc-v2'),
  release('1.7', join(unpacked, '1.7/usr/bin/containerd-shim-runc-v2')),
  release('2.1', join(unpacked, '2.1/usr/bin/containerd-shim-runc-v2')),
  release('2.3+', process.env.FLOTILLA_TEST_SHIM ?? ''),
]
