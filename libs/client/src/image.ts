import { topChainId } from '@flotilla/oci'
import { failedPrecondition, notFound } from '@flotilla/rpc'
import type { CallSettings } from './caller.ts'
import type { Client } from './client.ts'

/** What an image says about the containers made from it; names as in an image's configuration. */
export interface ImageConfig {
  readonly architecture: string
  readonly os: string
  readonly config: {
    readonly Cmd?: readonly string[] | null
    readonly Entrypoint?: readonly string[] | null
    readonly Env?: readonly string[] | null
    readonly Labels?: Readonly<Record<string, string>> | null
    readonly User?: string
    readonly WorkingDir?: string
    readonly StopSignal?: string
  }
  /** Name of the committed snapshot with the image's files. */
  readonly chainId: string
  /** Digests of the layers, lowest first. */
  readonly layers: readonly string[]
}

interface Descriptor {
  readonly digest: string
  readonly mediaType?: string
  readonly platform?: { readonly os: string; readonly architecture: string }
}

/** Largest manifest or configuration that is read, bytes. */
const largestDocument = 8 * 1024 * 1024

/** Reads a blob of JSON. */
async function readJson(client: Client, digest: string, settings: CallSettings): Promise<Record<string, unknown>> {
  const pieces: Uint8Array[] = []
  let size = 0
  for await (const { data } of client.content.read({ digest, offset: 0, size: 0 }, settings)) {
    pieces.push(data)
    size += data.length
    if (size > largestDocument) throw failedPrecondition(`content ${digest} is too large for a manifest`)
  }
  return JSON.parse(Buffer.concat(pieces).toString('utf8')) as Record<string, unknown>
}

/** Reads what an image is for one platform. `platform` is `OS/ARCHITECTURE`. */
export async function readImage(
  client: Client,
  name: string,
  platform: string,
  settings: CallSettings = {},
): Promise<ImageConfig> {
  const { image } = await client.images.get({ name }, settings)
  if (image?.target === undefined) throw notFound(`image "${name}"`)
  let document = await readJson(client, image.target.digest, settings)
  const [os, architecture] = platform.split('/')
  if (Array.isArray(document.manifests)) {
    const fitting = (document.manifests as Descriptor[]).find(
      (manifest) =>
        manifest.platform === undefined ||
        (manifest.platform.os === os && manifest.platform.architecture === architecture),
    )
    if (fitting === undefined) throw notFound(`image "${name}" for ${platform}`)
    document = await readJson(client, fitting.digest, settings)
  }
  const described = document.config as Descriptor | undefined
  if (described === undefined) throw failedPrecondition(`image "${name}" has no configuration`)
  const config = await readJson(client, described.digest, settings)
  const rootfs = config.rootfs as { readonly diff_ids?: readonly string[] } | undefined
  return {
    architecture: String(config.architecture ?? ''),
    os: String(config.os ?? ''),
    config: (config.config ?? {}) as ImageConfig['config'],
    chainId: topChainId(rootfs?.diff_ids ?? []),
    layers: ((document.layers ?? []) as Descriptor[]).map(({ digest }) => digest),
  }
}
