import { type Metadata, tables } from '@flotilla/metadata'
import { sourcePrefix } from '@flotilla/oci'
import { parseReference, type RegistryClient } from '@flotilla/registry'
import { hasCode, status } from '@flotilla/rpc'

interface Wanted {
  readonly namespace: string
  readonly digest: string
  readonly size: number
  readonly labels: Readonly<Record<string, string>>
}

/**
 * The bytes of a blob from the registry that its labels name. The label has a host without its port: images of the
 * namespace that came from there say which. Plain HTTP is tried too, since the digest of what comes is checked and no
 * credentials are sent. Undefined when the labels name none.
 */
export async function fromSource(
  metadata: Metadata,
  registries: RegistryClient,
  { digest, labels, namespace, size }: Wanted,
  offset: number,
  signal: AbortSignal,
): Promise<AsyncIterable<Uint8Array> | undefined> {
  const sources = Object.entries(labels)
    .filter(([label]) => label.startsWith(sourcePrefix))
    .flatMap(([label, names]) => names.split(',').map((name) => ({ host: label.slice(sourcePrefix.length), name })))
  if (sources.length === 0) return undefined
  const hosts = await hostsOfImages(metadata, namespace)
  const references = sources.flatMap(({ host, name }) =>
    [...hosts.filter((one) => one.replace(/:\d+$/, '') === host), host].map((one) => `${one}/${name}`),
  )
  return attempts()

  async function* attempts(): AsyncGenerator<Uint8Array> {
    let failure: unknown
    for (const reference of new Set(references))
      for (const scheme of ['https', 'http']) {
        let begun = false
        try {
          const descriptor = { mediaType: 'application/octet-stream', digest, size }
          const repository = registries.repository(reference, { defaultScheme: scheme })
          for await (const data of repository.fetch(descriptor, { offset, signal })) {
            begun = true
            yield data
          }
          return
        } catch (error) {
          if (begun || signal.aborted) throw error
          // What the registry itself says is worth more than that it speaks no TLS.
          if (failure === undefined || hasCode(failure, status.UNAVAILABLE)) failure = error
        }
      }
    throw failure
  }
}

async function hostsOfImages(metadata: Metadata, namespace: string): Promise<string[]> {
  const hosts = new Set<string>()
  for (const [name] of await metadata.all(namespace, tables.images)) {
    try {
      hosts.add(parseReference(name).host)
    } catch {
      // An image of another kind of name came from nowhere.
    }
  }
  return [...hosts]
}
