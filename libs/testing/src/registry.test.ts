import { connect } from 'node:net'
import { describe, expect, it } from 'vitest'
import { startFaultyRegistry } from './faulty-registry.ts'
import { exchange } from './http-exchange.ts'
import { buildImage } from './image.ts'
import { pushImage } from './push.ts'
import { type RegistryOptions, startRegistry } from './registry.ts'

const image = await buildImage({ scratch: true, layers: [[{ name: 'hello', content: 'hello' }]], index: true })

describe('startRegistry', () => {
  it.each<RegistryOptions>([{}, { auth: 'basic' }, { auth: 'token' }, { tls: true }, { tls: true, auth: 'token' }])(
    'takes an image with %j and refuses a stranger',
    async (options) => {
      await using registry = await startRegistry(options)
      const reference = await pushImage(registry, 'some/thing:1', image)
      expect(reference).toBe(`${registry.host}/some/thing:1`)
      const path = '/v2/some/thing/manifests/1'
      const headers = { accept: image.target.mediaType }
      const back = await registry.request(path, { headers })
      expect(back.body).toEqual(image.target.bytes)
      const ca = options.tls ? (await import('node:fs')).readFileSync(registry.caFile as string, 'utf8') : undefined
      const stranger = await exchange(`${registry.url}${path}`, { headers, ca })
      expect(stranger.status).toBe(options.auth === undefined ? 200 : 401)
      if (options.auth === 'token') {
        const challenge = /realm="([^"]+)",service="([^"]+)",scope="([^"]+)"/.exec(
          String(stranger.headers['www-authenticate']),
        )
        const [, realm, service, scope] = challenge!
        const basic = Buffer.from(`${registry.username}:${registry.password}`).toString('base64')
        const url = `${realm}?service=${service}&scope=${scope}`
        const { token } = JSON.parse(
          (await exchange(url, { headers: { authorization: `Basic ${basic}` } })).body.toString(),
        )
        const authorized = await exchange(`${registry.url}${path}`, {
          headers: { ...headers, authorization: `Bearer ${token}` },
          ca,
        })
        expect(authorized.status).toBe(200)
        expect((await exchange(url)).status).toBe(401)
        expect(registry.tokens?.requests.map((request) => request.username)).toEqual([registry.username, undefined])
      }
    },
  )
})

describe('startFaultyRegistry', () => {
  const blobPath = `/v2/a/b/blobs/${image.layers[0]!.digest}`

  it('serves what it has and spoils what it is told to, as often as told', async () => {
    await using registry = await startFaultyRegistry()
    expect(registry.add('a/b:1', image)).toBe(`${registry.host}/a/b:1`)
    const get = (path: string) => exchange(`${registry.url}${path}`)
    const right = image.layers[0]!.bytes
    expect((await get('/v2/a/b/manifests/1')).body).toEqual(image.target.bytes)
    expect((await get(blobPath)).body).toEqual(right)

    registry.fault({ path: /blobs/, times: 1, fault: { kind: 'status', status: 429, headers: { 'retry-after': '1' } } })
    expect(await get(blobPath)).toMatchObject({ status: 429, headers: { 'retry-after': '1' } })
    expect((await get(blobPath)).status).toBe(200)

    const undo = registry.fault({ path: /blobs/, fault: { kind: 'short', bytes: 5 } })
    await expect(get(blobPath)).rejects.toThrow()
    undo()
    registry.fault({ path: /blobs/, times: 1, fault: { kind: 'more', extra: Buffer.from('more') } })
    expect((await get(blobPath)).body).toHaveLength(right.length + 4)
    registry.fault({ path: /blobs/, times: 1, fault: { kind: 'other', bytes: Buffer.from('other') } })
    expect((await get(blobPath)).body.toString()).toBe('other')
    registry.fault({ path: /blobs/, times: 1, fault: { kind: 'redirect', to: 'http://elsewhere.test*' } })
    expect((await get(blobPath)).headers.location).toBe(`http://elsewhere.test${blobPath}`)
    expect(registry.requests.filter((request) => request.path === blobPath)).toHaveLength(7)
  })

  it('stalls in the middle of a body', async () => {
    await using registry = await startFaultyRegistry()
    registry.add('a/b:1', image)
    registry.fault({ path: /blobs/, fault: { kind: 'stall', after: 3 } })
    const socket = connect(Number(registry.host.split(':')[1]), '127.0.0.1')
    socket.write(`GET ${blobPath} HTTP/1.1\r\nHost: x\r\n\r\n`)
    let text = ''
    for await (const piece of socket) {
      text += String(piece)
      if (text.includes('\r\n\r\n') && text.split('\r\n\r\n')[1] !== '') break
    }
    expect(text).toContain('200 OK')
  })
})
