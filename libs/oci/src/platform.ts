/** As in descriptors and in requests; empty strings where nothing is said. */
export interface Platform {
  readonly os: string
  readonly architecture: string
  readonly variant: string
}

const architectures: Readonly<Record<string, string>> = {
  x86_64: 'amd64',
  'x86-64': 'amd64',
  i386: '386',
  aarch64: 'arm64',
  armhf: 'arm',
  armel: 'arm',
}

/** One spelling for each platform. */
export function normalized(platform: Partial<Platform>): Platform {
  const os = (platform.os ?? '').toLowerCase()
  const given = (platform.architecture ?? '').toLowerCase()
  const architecture = architectures[given] ?? given
  let variant = (platform.variant ?? '').toLowerCase()
  if (given === 'armhf') variant = 'v7'
  else if (given === 'armel') variant = 'v6'
  else if (architecture === 'arm') variant = variant === '' ? 'v7' : variant.replace(/^(\d)$/, 'v$1')
  else if (architecture === 'arm64' && /^v?8$/.test(variant)) variant = ''
  else if (architecture === 'amd64' && variant === 'v1') variant = ''
  return { os: os === 'macos' ? 'darwin' : os, architecture, variant }
}

/** Go's name for an architecture that Node names. */
export function goArchitecture(arch: string = process.arch): string {
  return { x64: 'amd64', ia32: '386', ppc64: 'ppc64le' }[arch] ?? arch
}

export const hostPlatform = normalized({ os: 'linux', architecture: goArchitecture() })

/** Where in the list of wanted platforms one stands; -1 when it is not wanted. */
export function rankOf(wanted: readonly Partial<Platform>[], platform: Partial<Platform>): number {
  const it = normalized(platform)
  return wanted
    .map(normalized)
    .findIndex((one) => one.os === it.os && one.architecture === it.architecture && one.variant === it.variant)
}
