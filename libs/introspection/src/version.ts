import type { VersionDefinition } from '@flotilla/api/containerd/services/version/v1/version'
import type { ServiceOf } from '@flotilla/rpc'

export interface VersionDeps {
  /** A semantic version with a leading `v`; the README says why ours looks as it does. */
  readonly version?: string
  /** What it was built from; Docker shows this one. */
  readonly revision?: string
}

export function createVersionService({
  version = 'v2.1.0+flotilla.0.1.0',
  revision = 'flotilla-0.1.0',
}: VersionDeps = {}): ServiceOf<VersionDefinition> {
  return { version: async () => ({ version, revision }) }
}
