import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { digestOf } from '@flotilla/testing'
import { describe, expect, it } from 'vitest'
import { bytesOf, quickClient, randomBlob } from './fixtures.ts'
import { maxManifestSize } from './index.ts'

/** A server that answers as it likes, and a repository of it. */
async function server(listener: RequestListener, options: Parameters<typeof quickClient>[0] = {}) {
  const seen: string[] = []
  const http = createServer((request, response) => {
    seen.push(`${request.method} ${request.url}`)
    listener(request, response)
  }).listen(0, '127.0.0.1')
  await once(http, 'listening')
  const client = quickClient({ retry: { attempts: 2 }, ...options })
  const host = `127.0.0.1:${(http.address() as AddressInfo).port}`
  return {
    seen,
    repository: client.repository(`${host}/team/app:v1`),
    async [Symbol.asyncDispose]() {
      await client[Symbol.asyncDispose]()
      http.closeAllConnections()
      http.close()
      await once(http, 'close')
    },
  }
}

const manifest = Buffer.from('{"schemaVersion":2}')
const type = 'application/vnd.oci.image.manifest.v1+json'
const described = { mediaType: type, digest: digestOf(manifest), size: manifest.length }
const path = '/v2/team/app/manifests/v1'

describe('resolve', () => {
  it('hashes what a server does not name', async () => {
    await using it = await server((_, response) => {
      response.writeHead(200, { 'content-type': `${type}; charset=utf-8` }).end(manifest)
    })
    expect(await it.repository.resolve()).toEqual(described)
    expect(it.seen).toEqual([`HEAD ${path}`, `GET ${path}`])
  })

  it('does without HEAD where it is not allowed', async () => {
    await using it = await server((request, response) => {
      if (request.method === 'HEAD') response.writeHead(405).end()
      else response.writeHead(200, { 'content-type': type }).end(manifest)
    })
    expect(await it.repository.resolve()).toEqual(described)
  })

  it('refuses what is larger than a manifest, said or not', async () => {
    await using said = await server((_, response) => {
      response.writeHead(200, {
        'content-length': maxManifestSize + 1,
        'docker-content-digest': described.digest,
      })
      response.end()
    })
    await expect(said.repository.resolve()).rejects.toThrow(`rejecting ${maxManifestSize + 1} byte manifest for`)
    await using unsaid = await server((_, response) => {
      response.writeHead(200, { 'content-type': type })
      response.end(Buffer.alloc(maxManifestSize + 1))
    })
    await expect(unsaid.repository.resolve()).rejects.toThrow(`sends more than ${maxManifestSize} bytes`)
  })

  it('refuses a digest that is none', async () => {
    await using it = await server((_, response) => {
      response.writeHead(200, { 'docker-content-digest': 'md5:../../etc', 'content-length': '2' }).end('{}')
    })
    await expect(it.repository.resolve()).rejects.toThrow('names no digest: "md5:../../etc"')
  })

  it('waits for no answer for ever', async () => {
    await using it = await server(() => {}, { patience: { answer: 100 } })
    await expect(it.repository.resolve()).rejects.toThrow(
      /waited 0.1s for an answer from .*: context deadline exceeded/,
    )
    expect(it.seen).toHaveLength(2)
  })

  it('waits for no connection for ever', async () => {
    // It accepts, and never says a word of TLS.
    const silent = createTcpServer(() => {}).listen(0, '127.0.0.1')
    await once(silent, 'listening')
    await using client = quickClient({ retry: { attempts: 2 }, patience: { dial: 100 } })
    const { port } = silent.address() as AddressInfo
    const repository = client.repository(`127.0.0.1:${port}/team/app:v1`)
    await expect(repository.resolve()).rejects.toThrow('waited 0.1s for a connection from')
    silent.close()
  })

  it('says when nobody is there', async () => {
    const gone = createTcpServer().listen(0, '127.0.0.1')
    await once(gone, 'listening')
    const { port } = gone.address() as AddressInfo
    gone.close()
    await once(gone, 'close')
    await using client = quickClient()
    await expect(client.repository(`127.0.0.1:${port}/team/app:v1`).resolve()).rejects.toThrow(
      /failed to do request: HEAD to .*ECONNREFUSED.*: unavailable/,
    )
  })
})

describe('fetch', () => {
  const blob = randomBlob(3_000_000)

  it('reads a large body of no stated length', async () => {
    await using it = await server((_, response) => void response.writeHead(200).end(blob.bytes))
    const chunked = await server((_, response) => {
      response.writeHead(200)
      for (let at = 0; at < blob.size; at += 100_000) response.write(blob.bytes.subarray(at, at + 100_000))
      response.end()
    })
    await using odd = chunked
    expect(digestOf(await bytesOf(it.repository.fetch(blob)))).toBe(blob.digest)
    expect(digestOf(await bytesOf(odd.repository.fetch(blob)))).toBe(blob.digest)
  })

  it('stops at bytes beyond the end', async () => {
    await using it = await server((_, response) => {
      response.writeHead(200)
      response.write(blob.bytes)
      response.end('more')
    })
    await expect(bytesOf(it.repository.fetch(blob))).rejects.toThrow(
      `sends more than the ${blob.size} bytes of ${blob.digest}: data loss`,
    )
  })

  it('knows what else a server says', async () => {
    const text = 'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 3000000\r\n\r\nx'
    const answers = ['', 'SSH-2.0-hello\r\n\r\n', text, `HTTP/1.1 200 OK\r\nx: ${'y'.repeat(100_000)}`]
    for (const answer of answers) {
      const odd = createTcpServer((socket) => {
        socket.on('error', () => {})
        socket.end(answer)
      }).listen(0, '127.0.0.1')
      await once(odd, 'listening')
      await using client = quickClient({ retry: { attempts: 2 } })
      const host = `127.0.0.1:${(odd.address() as AddressInfo).port}`
      const repository = client.repository(`${host}/team/app:v1`, { defaultScheme: 'http' })
      await expect(bytesOf(repository.fetch(blob))).rejects.toThrow(/: unavailable$/)
      odd.close()
    }
  })
})
