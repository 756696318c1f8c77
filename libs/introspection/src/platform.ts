import type { Platform } from '@flotilla/api/containerd/types/types'

/** Go's names for the architectures that Node runs on. */
const architectures: Readonly<Record<string, { architecture: string; variant: string }>> = {
  x64: { architecture: 'amd64', variant: '' },
  ia32: { architecture: '386', variant: '' },
  arm64: { architecture: 'arm64', variant: 'v8' },
  arm: { architecture: 'arm', variant: 'v7' },
  ppc64: { architecture: 'ppc64le', variant: '' },
}

/** The platform whose containers this machine runs. */
export function hostPlatform(arch: string = process.arch): Platform {
  const { architecture, variant } = architectures[arch] ?? { architecture: arch, variant: '' }
  return { os: 'linux', architecture, variant, osVersion: '', osFeatures: [] }
}
