import { copyFile, mkdir, writeFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { buildImage, digestOf, pushImage, startRegistry, type TestRegistry, tempWorld } from '@flotilla/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bytesOf, pieces, quickClient, randomBlob } from './fixtures.ts'
import type { Credential, Repository } from './index.ts'

const image = await buildImage({ index: true })

/** Everything of the image, read through a repository, has the digest it should have. */
async function expectWhole(repository: Repository) {
  const target = await repository.resolve()
  expect(target).toEqual({ mediaType: image.target.mediaType, digest: image.target.digest, size: image.target.size })
  const digests = image.blobs.map(async (blob) => digestOf(await bytesOf(repository.fetch(blob))))
  expect(await Promise.all(digests)).toEqual(image.blobs.map((blob) => blob.digest))
}

describe.each(['open', 'basic', 'token', 'token by GET'] as const)('a registry that is %s', (kind) => {
  let registry: TestRegistry
  let reference: string
  const auth = kind === 'open' ? {} : { auth: kind === 'basic' ? ('basic' as const) : ('token' as const) }
  let asked: string[] = []
  const credentials = async (host: string, challenge: string): Promise<Credential> => {
    asked.push(`${host} ${challenge.split(' ')[0]}`)
    return { kind: 'password', username: registry.username, password: registry.password }
  }

  beforeAll(async () => {
    registry = await startRegistry({ ...auth, tokensByGet: kind === 'token by GET' })
    reference = await pushImage(registry, 'library/hello:1', image)
  })
  afterAll(() => registry[Symbol.asyncDispose]())

  it('is pulled from, whole', async () => {
    asked = []
    await using client = quickClient()
    await expectWhole(client.repository(reference, { credentials }))
    const scheme = kind === 'basic' ? 'Basic' : 'Bearer'
    expect(asked).toEqual(kind === 'open' ? [] : [`${registry.host} ${scheme}`])
  })

  it('is pulled from by digest, and from an offset', async () => {
    await using client = quickClient()
    const byDigest = client.repository(`${registry.host}/library/hello@${image.target.digest}`, { credentials })
    expect((await byDigest.resolve()).digest).toBe(image.target.digest)
    const layer = image.layers[0]!
    const tail = await bytesOf(byDigest.fetch(layer, { offset: 1000 }))
    expect(tail.equals(layer.bytes.subarray(1000))).toBe(true)
    expect(await bytesOf(byDigest.fetch(layer, { offset: layer.size }))).toHaveLength(0)
  })

  it('knows no other names', async () => {
    await using client = quickClient()
    const other = client.repository(`${registry.host}/library/hello:2`, { credentials })
    await expect(other.resolve()).rejects.toThrow(`${registry.host}/library/hello:2: not found`)
  })

  it.skipIf(kind === 'open')('refuses the wrong password, and nobody', async () => {
    await using client = quickClient()
    const wrong = { kind: 'password', username: registry.username, password: 'guess' } as const
    const stranger = client.repository(reference, { credentials: async () => wrong })
    await expect(stranger.resolve()).rejects.toThrow('authorization failed')
    const nobody = client.repository(reference)
    await expect(nobody.resolve()).rejects.toThrow('authorization failed')
  })
})

it('asks for one token for requests that start together', async () => {
  await using registry = await startRegistry({ auth: 'token' })
  const reference = await pushImage(registry, 'library/hello:1', image)
  await using client = quickClient()
  const credentials = async (): Promise<Credential> => ({ kind: 'refresh', token: registry.refreshToken })
  const before = registry.tokens!.requests.length
  await expectWhole(client.repository(reference, { credentials }))
  expect(registry.tokens!.requests.slice(before)).toEqual([
    {
      method: 'POST',
      scopes: ['repository:library/hello:pull'],
      service: 'flotilla-test-registry',
      username: registry.username,
    },
  ])
})

it('trusts the authority that hosts.toml names, and no other', async () => {
  await using world = await tempWorld({ name: 'hosts' })
  await using registry = await startRegistry({ tls: true })
  const reference = await pushImage(registry, 'library/hello:1', image)
  const directory = world.join(registry.host.replace(/:(\d+)$/, '_$1_'))
  await mkdir(directory)
  await using client = quickClient({ hostsDir: world.path })

  await writeFile(`${directory}/hosts.toml`, `server = "${registry.url}"\n`)
  await expect(client.repository(reference).resolve()).rejects.toThrow('self-signed certificate')

  await copyFile(registry.caFile!, `${directory}/ours.pem`)
  await writeFile(`${directory}/hosts.toml`, `server = "${registry.url}"\nca = "ours.pem"\n`)
  await expectWhole(client.repository(reference))

  await writeFile(`${directory}/hosts.toml`, `server = "${registry.url}"\nskip_verify = true\n`)
  await expectWhole(client.repository(reference))
})

it('fetches a large blob over TLS, for a reader that takes its time', async () => {
  await using registry = await startRegistry({ tls: true })
  await using client = quickClient({ patience: { stall: 2_000 } })
  const repository = client.repository(`${registry.host}/team/app:v1`)
  const blob = randomBlob(12_000_000)
  await repository.push(blob, (offset) => pieces(blob.bytes, offset))
  const received: Uint8Array[] = []
  for await (const bytes of repository.fetch(blob)) {
    if (received.length === 0) await sleep(300)
    received.push(bytes)
  }
  expect(digestOf(Buffer.concat(received))).toBe(blob.digest)
})

it('trusts the authorities in a directory that Docker knows, and this machine without any', async () => {
  await using world = await tempWorld({ name: 'hosts' })
  await using registry = await startRegistry({ tls: true })
  const reference = await pushImage(registry, 'library/hello:1', image)
  const directory = world.join(registry.host)
  await using client = quickClient({ hostsDir: `/nowhere:${world.path}` })
  await expectWhole(client.repository(reference))
  await mkdir(directory)
  await copyFile(registry.caFile!, `${directory}/ours.crt`)
  await expectWhole(client.repository(reference))
})
