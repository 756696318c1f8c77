import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import { createServer as createPlainServer, type RequestListener } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { digestOf, makeCertificate, tempWorld } from '@flotilla/testing'
import { expect, it } from 'vitest'
import { bytesOf, quickClient, randomBlob } from './fixtures.ts'

const small = randomBlob(1_000)
const large = randomBlob(3_000_000, 2)

const serveBlobs: RequestListener = (request, response) => {
  const blob = [small, large].find(({ digest }) => request.url?.split('?')[0]?.endsWith(digest))
  if (blob === undefined) response.writeHead(404).end()
  else response.writeHead(200, { 'content-length': blob.size }).end(blob.bytes)
}

it('shows the certificate that hosts.toml names, for small and for large', async () => {
  await using world = await tempWorld({ name: 'tls' })
  const server = await makeCertificate(world.path, 'server')
  const ours = await makeCertificate(world.path, 'ours')
  const tls = { cert: server.cert, key: server.key, requestCert: true, rejectUnauthorized: true, ca: ours.cert }
  const https = createServer(tls, serveBlobs).listen(0, '127.0.0.1')
  await once(https, 'listening')
  const url = `https://127.0.0.1:${(https.address() as AddressInfo).port}`
  await mkdir(world.join('registry.example.com'))
  await using client = quickClient({ hostsDir: world.path, retry: { attempts: 2 } })
  const fetchBoth = async (entry: string) => {
    await writeFile(
      world.join('registry.example.com', 'hosts.toml'),
      `[host."${url}"]\n${entry}\ncapabilities = ["pull"]\n`,
    )
    const repository = client.repository('registry.example.com/team/app:v1')
    for (const blob of [small, large]) expect(digestOf(await bytesOf(repository.fetch(blob)))).toBe(blob.digest)
  }
  await fetchBoth('ca = "../server.crt"\nclient = [["../ours.crt", "../ours.key"]]')
  await writeFile(world.join('both.pem'), ours.cert + ours.key)
  await fetchBoth(`ca = ["${server.certFile}"]\nclient = "../both.pem"`)
  await expect(fetchBoth('ca = "../server.crt"')).rejects.toThrow(/alert|reset|ECONNRESET|EPIPE/)
  https.closeAllConnections()
  https.close()
})

it('goes through the proxy of the environment, for small and for large', async () => {
  const seen: string[] = []
  const proxy = createPlainServer((request, response) => {
    seen.push(`${request.method} ${request.url}`)
    serveBlobs(request, response)
  }).listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  const proxyUrl = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`
  await using client = quickClient({ proxyEnv: { http_proxy: proxyUrl, no_proxy: 'localhost' } })
  const repository = client.repository('registry.example.com/team/app:v1', { defaultScheme: 'http' })
  for (const blob of [small, large]) expect(digestOf(await bytesOf(repository.fetch(blob)))).toBe(blob.digest)
  const path = 'GET http://registry.example.com/v2/team/app/blobs'
  expect(seen).toEqual([`${path}/${small.digest}`, `${path}/${large.digest}`])
  proxy.closeAllConnections()
  proxy.close()
})
