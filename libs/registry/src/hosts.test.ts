import { mkdir, writeFile } from 'node:fs/promises'
import { digestOf, startFaultyRegistry, tempWorld } from '@flotilla/testing'
import { describe, expect, it } from 'vitest'
import { bytesOf, pieces, quickClient, randomBlob } from './fixtures.ts'
import { hostsFor } from './hosts.ts'

async function hostsWorld(files: Record<string, string>) {
  const world = await tempWorld({ name: 'hosts' })
  for (const [registry, text] of Object.entries(files)) {
    await mkdir(world.join(registry))
    await writeFile(world.join(registry, 'hosts.toml'), text)
  }
  return world
}

async function hosts(registry: string, hostsDir?: string, defaultScheme?: string) {
  const found = await hostsFor(registry, { hostsDir, defaultScheme })
  return found.map((host) => ({ ...host, capabilities: [...host.capabilities].join(' ') }))
}

describe('without configuration', () => {
  it.each([
    ['docker.io', 'https://registry-1.docker.io'],
    ['quay.io', 'https://quay.io'],
    ['quay.io:80', 'https://quay.io:80'],
    ['localhost', 'https://localhost'],
    ['localhost:443', 'https://localhost:443'],
    ['localhost:80', 'http://localhost:80'],
    ['localhost:5000', 'https://localhost:5000 or plain'],
    ['127.0.3.4:5000', 'https://127.0.3.4:5000 or plain'],
    ['[::1]:5000', 'https://[::1]:5000 or plain'],
  ])('%s is asked at %s', async (registry, expected) => {
    const [host] = await hosts(registry)
    expect(`${host!.scheme}://${host!.host}${host!.plainFallback ? ' or plain' : ''}`).toBe(expected)
    expect(host).toMatchObject({ path: '/v2', capabilities: 'pull resolve push' })
  })

  it('a scheme that is given counts, for docker.io it does not', async () => {
    expect(await hosts('quay.io', undefined, 'http')).toMatchObject([{ scheme: 'http' }])
    expect(await hosts('localhost:5000', undefined, 'http')).toMatchObject([{ scheme: 'http', plainFallback: false }])
    expect(await hosts('docker.io', undefined, 'http')).toMatchObject([{ scheme: 'https' }])
  })
})

describe('hosts.toml', () => {
  it('says which hosts are asked, in what order, and how', async () => {
    await using world = await hostsWorld({
      'example.com_5000_': `
server = "https://origin.example.com"
dial_timeout = "1m30s"
[host."https://z.example.com"]
  capabilities = ["pull", "Resolve"]
  [host."https://z.example.com".header]
    x-one = "1"
    x-two = ["2", "3"]
[host."http://a.example.com/mirror"]
  dial_timeout = "250ms"
[host."b.example.com/as/it/is"]
  override_path = true
  skip_verify = true
[host."https://c.example.com/v2/"]
`,
    })
    expect(await hosts('example.com:5000', world.path)).toMatchObject([
      {
        scheme: 'https',
        host: 'z.example.com',
        path: '/v2',
        capabilities: 'pull resolve',
        headers: { 'x-one': '1', 'x-two': '2, 3' },
      },
      { scheme: 'http', host: 'a.example.com', path: '/mirror/v2', dialTimeout: 250 },
      { scheme: 'https', host: 'b.example.com', path: '/as/it/is', tls: { skipVerify: true } },
      { scheme: 'https', host: 'c.example.com', path: '/v2' },
      { scheme: 'https', host: 'origin.example.com', path: '/v2', dialTimeout: 90_000, tls: undefined },
    ])
  })

  it('of _default is for all that have none, and the usual server comes last', async () => {
    await using world = await hostsWorld({
      _default: '[host."https://mirror.example.com"]\n',
      'quay.io': 'server = "https://quay.example.com"\n',
      'docker.io': 'server = "https://docker.io"\n',
    })
    const names = async (registry: string) => (await hosts(registry, world.path)).map(({ host }) => host)
    expect(await names('localhost:80')).toEqual(['mirror.example.com', 'localhost:80'])
    expect(await names('docker.io')).toEqual(['registry-1.docker.io'])
    expect(await names('quay.io')).toEqual(['quay.example.com'])
  })

  it.each([
    ['server = ', 'hosts.toml'],
    ['[host."https://a"]\ncapabilities = ["fly"]', 'unknown capability fly'],
    ['[host."https://a"]\nca = 5', 'ca is no text: 5'],
    ['[host."https://a"]\nca = "nowhere.pem"', 'nowhere.pem'],
    ['[host."https://a"]\nclient = [["a", "b", "c"]]', 'no pair of certificate and key'],
    ['[host."https://a"]\ndial_timeout = "soon"', '"soon" is no duration'],
    ['[host."https://"]', '"https://" is no address'],
    ['host = "a"', 'host is no table'],
    ['[host."https://a".header]\nx = "one\\ntwo"', 'invalid header "x"'],
  ])('that says %j is refused', async (text, why) => {
    await using world = await hostsWorld({ 'quay.io': text })
    const found = hosts('quay.io', world.path)
    await expect(found).rejects.toThrow(why)
    await expect(found).rejects.toThrow(`${world.join('quay.io', 'hosts.toml')}`)
    await expect(found).rejects.toThrow(/: failed precondition$/)
  })
})

describe('mirrors', () => {
  const blob = randomBlob(100_000)

  it('are asked in order, with the name of the registry, and the next when one fails', async () => {
    await using broken = await startFaultyRegistry()
    await using empty = await startFaultyRegistry()
    await using good = await startFaultyRegistry()
    broken.fault({ path: /./, fault: { kind: 'status', status: 500 } })
    good.tag('team/app:v1', blob)
    await using world = await hostsWorld({
      'registry.example.com': [broken, empty, good]
        .map(({ url }) => `[host."${url}"]\n[host."${url}".header]\nx-mirror = "yes"\n`)
        .join(''),
    })
    await using client = quickClient({ hostsDir: world.path })
    const repository = client.repository('registry.example.com/team/app:v1')
    const descriptor = await repository.resolve()
    expect(descriptor.digest).toBe(blob.digest)
    expect(digestOf(await bytesOf(repository.fetch(descriptor)))).toBe(blob.digest)
    for (const registry of [broken, empty, good])
      expect(registry.requests[0]).toMatchObject({ query: '?ns=registry.example.com', headers: { 'x-mirror': 'yes' } })
  })

  it('that break in the middle are followed by the next', async () => {
    await using first = await startFaultyRegistry({ ranges: true })
    await using second = await startFaultyRegistry({ ranges: true })
    for (const registry of [first, second]) registry.addBlob(blob)
    first.fault({ path: /./, fault: { kind: 'short', bytes: 40_000 }, times: 1 })
    first.fault({ path: /./, fault: { kind: 'status', status: 500 } })
    await using world = await hostsWorld({
      'registry.example.com': `server = "${second.url}"\n[host."${first.url}"]\n`,
    })
    await using client = quickClient({ hostsDir: world.path })
    const repository = client.repository('registry.example.com/team/app:v1')
    expect(digestOf(await bytesOf(repository.fetch(blob)))).toBe(blob.digest)
    expect(second.requests.map(({ headers }) => headers.range)).toEqual(['bytes=40000-'])
  })

  it('are asked only for what they are for', async () => {
    await using mirror = await startFaultyRegistry()
    await using origin = await startFaultyRegistry()
    for (const registry of [mirror, origin]) registry.tag('team/app:v1', blob)
    await using world = await hostsWorld({
      'registry.example.com': `server = "${origin.url}"\n[host."${mirror.url}"]\ncapabilities = ["pull"]\n`,
    })
    await using client = quickClient({ hostsDir: world.path })
    const repository = client.repository('registry.example.com/team/app:v1')
    const descriptor = await repository.resolve()
    expect(mirror.requests).toHaveLength(0)
    await bytesOf(repository.fetch(descriptor))
    expect(mirror.requests).toHaveLength(1)
    const other = randomBlob(1000, 2)
    await repository.push(other, (offset) => pieces(other.bytes, offset))
    expect(mirror.requests).toHaveLength(1)
    await writeFile(
      world.join('registry.example.com', 'hosts.toml'),
      `server = "${origin.url}"\ncapabilities = ["pull"]\n`,
    )
    await expect(client.repository('registry.example.com/team/app:v1').resolve()).rejects.toThrow(
      'no resolve hosts for registry.example.com: not found',
    )
  })
})
