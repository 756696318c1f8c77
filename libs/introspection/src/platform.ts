import type { Platform } from '@flotilla/api/containerd/types/types'
import { goArchitecture } from '@flotilla/oci'

/** The variants that containerd names; of the others it finds out more than Node tells. */
const variants: Readonly<Record<string, string>> = { arm64: 'v8', arm: 'v7' }

/** The platform whose containers this machine runs. */
export function hostPlatform(): Platform {
  const architecture = goArchitecture()
  return { os: 'linux', architecture, variant: variants[architecture] ?? '', osVersion: '', osFeatures: [] }
}
