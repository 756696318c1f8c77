import {
  type AuthRequest,
  AuthResponse,
  AuthType,
  HTTPDebug,
  ImageStore,
  OCIRegistry,
} from '@flotilla/api/containerd/types/transfer/transfer'
import { type Call, status } from '@flotilla/rpc'
import {
  buildImage,
  descriptorOf,
  indexOf,
  pushImage,
  startRegistry,
  type TestImage,
  type TestRegistry,
} from '@flotilla/testing'
import { afterAll, describe, expect, test } from 'vitest'
import { pack, unpackAny } from './any.ts'
import { hearing, openClientStream, receiving } from './testing/client-stream.ts'
import { worldAndRegistry } from './testing/world.ts'
import { authRequest, authResponse, imageStore, ociRegistry } from './types.ts'

const { world, registry, end } = await worldAndRegistry()
afterAll(end)

type Store = Parameters<typeof ImageStore.fromPartial>[0]
type Resolver = NonNullable<Parameters<typeof OCIRegistry.fromPartial>[0]['resolver']>

/** Pulls; answers what was told of it. */
async function pulling(call: Call, reference: string, store: Store, resolver: Resolver = {}) {
  const progress = await hearing(world.streams, call)
  await world.transfer(
    {
      source: pack(
        ociRegistry,
        OCIRegistry.fromPartial({ reference, resolver: { defaultScheme: 'http', ...resolver } }),
      ),
      destination: pack(imageStore, ImageStore.fromPartial(store)),
      options: { progressStream: progress.id },
    },
    call,
  )
  return await progress.told
}

const platform = (architecture: string) => ({ os: 'linux', architecture })
const own = platform(process.arch === 'arm64' ? 'arm64' : 'amd64')

const oneLayer = (name: string, compression: 'gzip' | 'zstd' | 'none' = 'gzip') =>
  buildImage({ scratch: true, compression, layers: [[{ name, content: name }]] })

/** An image that is one for each of several platforms. */
async function many(...platforms: readonly object[]) {
  const parts = await Promise.all(platforms.map((_, at) => oneLayer(`part-${at}`)))
  const index = indexOf(
    parts.map(({ manifest }, at) => ({ ...descriptorOf(manifest), platform: platforms[at] as typeof own })),
  )
  const blobs = [...parts.flatMap((part) => part.blobs), index]
  return { parts, image: { ...(parts[0] as TestImage), index, target: index, blobs } }
}

/** Pushes the manifests of all parts, then the index. */
async function pushMany(name: string, { parts, image }: Awaited<ReturnType<typeof many>>): Promise<string> {
  const repository = name.slice(0, name.lastIndexOf(':'))
  for (const [at, part] of parts.entries()) await pushImage(registry, `${repository}:part-${at}`, part)
  return await pushImage(registry, name, image)
}

const digestsOf = (blobs: readonly { digest: string }[]) => [...new Set(blobs.map(({ digest }) => digest))].sort()

describe('what is fetched', () => {
  test.each(['gzip', 'zstd', 'none'] as const)('an image with layers of %s, which is unpacked', async (compression) => {
    const call = world.fresh()
    const image = await oneLayer(compression, compression)
    const reference = await pushImage(registry, `some/${compression}:1`, image)
    const told = await pulling(call, reference, { name: reference, unpacks: [{ snapshotter: 'overlayfs' }] })
    expect(await world.digests(call)).toEqual(digestsOf(image.blobs))
    expect(await world.snapshotNames(call)).toEqual([image.layers[0]?.diffId])
    expect(told.filter(({ event }) => event === 'saved').map(({ name }) => name)).toEqual([reference])
    expect(told.map(({ event }) => event)).toContain(`Completed pull from OCI Registry (${reference})`)
  })

  const three = [platform('s390x'), own, platform('riscv64')]

  test.each<[string, Store, (parts: readonly TestImage[]) => readonly { digest: string }[]]>([
    ['all platforms when none is named', {}, (parts) => parts.flatMap(({ blobs }) => blobs)],
    ['one platform', { platforms: [own] }, ([, mine]) => mine!.blobs],
    [
      'one platform, and what describes the others',
      { platforms: [own], allMetadata: true },
      ([one, mine, other]) => [...mine!.blobs, one!.manifest, one!.config, other!.manifest, other!.config],
    ],
    [
      'no more manifests than wanted, in the order of the platforms',
      { platforms: [platform('riscv64'), own], manifestLimit: 1 },
      ([, , other]) => other!.blobs,
    ],
    [
      'what describes the others where none fits',
      { platforms: [platform('mips64le')], allMetadata: true },
      (parts) => parts.flatMap(({ manifest, config }) => [manifest, config]),
    ],
    ['so many of all', { manifestLimit: 2 }, ([one, mine]) => [...one!.blobs, ...mine!.blobs]],
    [
      'what describes others, as far as the limit goes',
      { platforms: [own], allMetadata: true, manifestLimit: 2 },
      ([one, mine]) => [...mine!.blobs, one!.manifest, one!.config],
    ],
  ])('of several platforms: %s', async (_, store, wanted) => {
    const call = world.fresh()
    const made = await many(...three)
    const reference = await pushMany(`some/${call.namespace}:1`, made)
    await pulling(call, reference, { name: reference, ...store })
    expect(await world.digests(call)).toEqual(digestsOf([made.image.target, ...wanted(made.parts)]))
    expect(await world.imageNames(call)).toEqual([reference])
  })

  test('nothing when no platform fits', async () => {
    const call = world.fresh()
    const reference = await pushMany(`some/${call.namespace}:1`, await many(platform('s390x')))
    await expect(pulling(call, reference, { name: reference, platforms: [own] })).rejects.toMatchObject({
      code: status.NOT_FOUND,
      message: expect.stringContaining('no match for platform in manifest'),
    })
    await world.collect(call)
    expect([await world.imageNames(call), await world.digests(call), await world.leaseIds(call)]).toEqual([[], [], []])
  })
})

describe('names', () => {
  test('are the one given, the further ones, and those with the digest', async () => {
    const call = world.fresh()
    const image = await oneLayer('named')
    const reference = await pushImage(registry, 'some/named:1', image)
    const extraReferences = [
      { name: 'r.example/a:1' },
      { name: 'r.example/b', addDigest: true },
      { name: 'r.example/prefix', isPrefix: true },
    ]
    await pulling(call, reference, { name: reference, labels: { a: 'b' }, extraReferences })
    const wanted = [reference, 'r.example/a:1', `r.example/b@${image.target.digest}`].sort()
    expect(await world.imageNames(call)).toEqual(wanted)
    for (const name of wanted) {
      const { image: saved } = await world.images.get({ name }, call)
      expect([saved?.target?.digest, saved?.labels]).toEqual([image.target.digest, { a: 'b' }])
    }
  })

  test('are needed', async () => {
    const call = world.fresh()
    const reference = await pushImage(registry, 'some/unnamed:1', await oneLayer('unnamed'))
    await expect(pulling(call, reference, {})).rejects.toMatchObject({
      code: status.NOT_FOUND,
      message: 'no image name found: not found',
    })
    await world.collect(call)
    expect([await world.digests(call), await world.leaseIds(call)]).toEqual([[], []])
  })
})

describe('unpacking', () => {
  test('by several configurations makes each snapshot once, by the snapshotters that there are', async () => {
    const call = world.fresh()
    const image = await oneLayer('several')
    const reference = await pushImage(registry, 'some/several:1', image)
    const unpacks = [
      { snapshotter: 'overlayfs' },
      { snapshotter: '', platform: own },
      { snapshotter: 'overlayfs', platform: platform('s390x') },
      { snapshotter: 'nosuch', platform: own },
    ]
    await pulling(call, reference, { name: reference, unpacks })
    expect(await world.snapshotNames(call)).toEqual([image.layers[0]?.diffId])
  })

  test('by no snapshotter that there is, is refused before anything is fetched', async () => {
    const call = world.fresh()
    const reference = await pushImage(registry, 'some/unpacked:1', await oneLayer('unpacked'))
    await expect(
      pulling(call, reference, { name: reference, unpacks: [{ snapshotter: 'nosuch', platform: own }] }),
    ).rejects.toMatchObject({ code: status.INVALID_ARGUMENT, message: expect.stringContaining('nosuch') })
    expect([await world.digests(call), await world.leaseIds(call)]).toEqual([[], []])
  })
})

describe('the way to the registry', () => {
  test('is shown to a client that asks for it', async () => {
    const call = world.fresh()
    const reference = await pushImage(registry, 'some/shown:1', await oneLayer('shown'))
    const logs = await receiving(world.streams, call)
    const resolver = { httpDebug: HTTPDebug.BOTH, logsStream: logs.id }
    await pulling(call, reference, { name: reference }, resolver)
    const text = String(await logs.bytes)
    expect(text).toContain('HEAD /v2/some/shown/manifests/1 HTTP/1.1')
    expect(text).toMatch(/^\* GET http:\/\/\S+: 200 after \d+ ms$/m)
  })

  test('is gone to the end though nobody reads along any more', async () => {
    const call = world.fresh()
    const reference = await pushImage(registry, 'some/left:1', await oneLayer('left'))
    const logs = await openClientStream(world.streams, call)
    logs.leave()
    await expect(
      pulling(call, reference, { name: reference }, { httpDebug: HTTPDebug.BOTH, logsStream: logs.id }),
    ).rejects.toMatchObject({ code: status.NOT_FOUND })
    const silent = await openClientStream(world.streams, call)
    await pulling(call, reference, { name: reference }, { httpDebug: HTTPDebug.BOTH, logsStream: silent.id })
    expect(await world.imageNames(call)).toEqual([reference])
    silent.leave()
  })

  test('takes the headers of the client with it', async () => {
    const call = world.fresh()
    const reference = await pushImage(registry, 'some/headers:1', await oneLayer('headers'))
    const logs = await receiving(world.streams, call)
    await pulling(
      call,
      reference,
      { name: reference },
      { headers: { 'x-some': 'thing' }, httpDebug: HTTPDebug.DEBUG, logsStream: logs.id },
    )
    expect(String(await logs.bytes)).toMatch(/^x-some: thing$/m)
  })

  const password = (registry: TestRegistry) => ({
    authType: AuthType.CREDENTIALS,
    username: registry.username,
    secret: registry.password,
  })
  const answers: ReadonlyArray<
    readonly [string, 'basic' | 'token', (registry: TestRegistry) => Partial<AuthResponse>]
  > = [
    ['a password', 'basic', password],
    ['a password, for a token', 'token', password],
    ['a refresh token', 'token', ({ refreshToken }) => ({ authType: AuthType.REFRESH, secret: refreshToken })],
    [
      'a header',
      'basic',
      ({ username, password: secret }) => ({
        authType: AuthType.HEADER,
        secret: `Basic ${Buffer.from(`${username}:${secret}`).toString('base64')}`,
      }),
    ],
  ]

  test.each(answers)('asks the client who it is: %s (%s)', async (_, auth, answer) => {
    const call = world.fresh()
    await using closed = await startRegistry({ auth })
    const reference = await pushImage(closed, 'some/closed:1', await oneLayer('closed'))
    const stream = await openClientStream(world.streams, call)
    const asked: AuthRequest[] = []
    const answering = (async () => {
      for (let next = await stream.receive(); next !== undefined; next = await stream.receive()) {
        asked.push(unpackAny(authRequest, next))
        stream.send(pack(authResponse, AuthResponse.fromPartial(answer(closed))))
      }
    })()
    answering.catch(() => {})
    await pulling(call, reference, { name: reference }, { authStream: stream.id })
    expect(asked).toEqual([
      {
        host: closed.host,
        reference,
        wwwauthenticate: [expect.stringMatching(auth === 'basic' ? /^Basic/ : /^Bearer/)],
      },
    ])
    stream.leave()
  })

  test.each([
    ['nobody', { authType: AuthType.NONE }],
    ['an empty token, as clients do that know nobody', { authType: AuthType.REFRESH }],
  ])('a client that answers %s is refused', async (_, answer) => {
    const call = world.fresh()
    await using closed = await startRegistry({ auth: 'basic' })
    const reference = await pushImage(closed, 'some/closed:1', await oneLayer('closed'))
    const stream = await openClientStream(world.streams, call)
    const answering = (async () => {
      await stream.receive()
      stream.send(pack(authResponse, AuthResponse.fromPartial(answer)))
    })()
    await expect(pulling(call, reference, { name: reference }, { authStream: stream.id })).rejects.toThrow(
      'authorization failed: no basic auth credentials',
    )
    await answering
    stream.leave()
  })
})
