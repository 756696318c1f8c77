import { failedPrecondition } from '@flotilla/rpc'
import { kindOf } from './media-types.ts'
import type { Platform } from './platform.ts'

/** A part of an image, as manifests name it. `size` in bytes. */
export interface Descriptor {
  readonly mediaType: string
  readonly digest: string
  readonly size: number
  readonly annotations?: Readonly<Record<string, string>>
  readonly platform?: Partial<Platform>
  readonly urls?: readonly string[]
}

/** The digests that we can check: what a path may be made of. */
export function isDigest(text: string): boolean {
  return /^(?:sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})$/.test(text)
}

/** By what ingests and progress name it: `KIND-DIGEST`. */
export function refOf(descriptor: Pick<Descriptor, 'mediaType' | 'digest'>): string {
  return `${kindOf(descriptor)}-${descriptor.digest}`
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null

/** A descriptor found in somebody's JSON. @throws FAILED_PRECONDITION naming `where` when it is none. */
export function checkedDescriptor(value: unknown, where: string): Descriptor {
  const wrong = (why: string) => failedPrecondition(`${where}: ${why}`)
  if (!isObject(value)) throw wrong('a descriptor is missing')
  const { digest, size, mediaType = '', annotations, platform, urls } = value
  if (typeof digest !== 'string' || !isDigest(digest)) throw wrong(`invalid digest ${JSON.stringify(digest)}`)
  if (!Number.isSafeInteger(size) || (size as number) < 0)
    throw wrong(`invalid size ${JSON.stringify(size)} of ${digest}`)
  if (typeof mediaType !== 'string') throw wrong(`invalid media type of ${digest}`)
  return {
    mediaType,
    digest,
    size: size as number,
    ...(isObject(annotations) ? { annotations: strings(annotations) } : {}),
    ...(isObject(platform) ? { platform: strings(platform) } : {}),
    ...(Array.isArray(urls) ? { urls: urls.filter((url) => typeof url === 'string') } : {}),
  }
}

function strings(value: Record<string, unknown>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(value).filter((pair): pair is [string, string] => typeof pair[1] === 'string'),
  )
}
