import {
  buildImage,
  type LayerBlob,
  pushImage,
  startRegistry,
  type TestImage,
  type TestRegistry,
} from '@flotilla/testing'

export interface SharedImage {
  readonly registry: TestRegistry
  /** `HOST:PORT/library/box:1` */
  readonly reference: string
  readonly image: TestImage
  /** Busybox. */
  readonly bottom: LayerBlob
  /** One file, /etc/motd. */
  readonly top: LayerBlob
}

let shared: Promise<SharedImage> | undefined

/** A plain-HTTP registry with a busybox image, one for each test file, started when first asked for. */
export function sharedImage(): Promise<SharedImage> {
  shared ??= start()
  return shared
}

async function start(): Promise<SharedImage> {
  const registry = await startRegistry()
  const layers = [[{ name: 'etc/motd', content: 'hello from a layer\n' }]]
  const image = await buildImage({ layers, index: true, config: { Cmd: ['sh'], Labels: { colour: 'blue' } } })
  const [bottom, top] = image.layers as [LayerBlob, LayerBlob]
  return { registry, image, bottom, top, reference: await pushImage(registry, 'library/box:1', image) }
}

/** Ends the registry, if it was started. */
export async function endSharedImage(): Promise<void> {
  const started = await shared
  shared = undefined
  await started?.registry[Symbol.asyncDispose]()
}
