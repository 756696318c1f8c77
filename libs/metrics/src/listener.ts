import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Metrics } from './metrics.ts'

/** A listening `/metrics` endpoint, also at containerd's path; disposing it closes the port and what is connected to it. */
export interface MetricsListener extends AsyncDisposable {
  /** `host:port` as it is bound. */
  readonly address: string
}

/** `host:port`, `[::1]:port` or `:port` (all interfaces). */
function parse(address: string): { host: string; port: number } {
  const at = address.lastIndexOf(':')
  const port = Number(address.slice(at + 1))
  if (at < 0 || !Number.isInteger(port) || address.length === at + 1)
    throw new Error(`metrics address "${address}" is not host:port`)
  return { host: address.slice(0, at).replace(/^\[(.*)\]$/, '$1'), port }
}

/** The second is containerd's. */
const paths: readonly string[] = ['/metrics', '/v1/metrics']

export async function listen(address: string, metrics: Pick<Metrics, 'text'>): Promise<MetricsListener> {
  const { host, port } = parse(address)
  const server = createServer((request, response) => {
    const path = request.url?.split('?')[0]
    const isMetrics = path !== undefined && paths.includes(path)
    if (!isMetrics || (request.method !== 'GET' && request.method !== 'HEAD')) {
      response.writeHead(isMetrics ? 405 : 404, { 'content-type': 'text/plain' }).end('see /metrics\n')
      return
    }
    metrics.text().then(
      (text) => response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' }).end(text),
      (error: unknown) => response.writeHead(500, { 'content-type': 'text/plain' }).end(`${String(error)}\n`),
    )
  })
  server.listen(port, host === '' ? undefined : host)
  await once(server, 'listening')
  const bound = server.address() as AddressInfo
  return {
    address: bound.family === 'IPv6' ? `[${bound.address}]:${bound.port}` : `${bound.address}:${bound.port}`,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}
