import { describe, expect, it } from 'vitest'
import { createMetrics } from './index.ts'

const record = { service: 's.S', method: 'M', namespace: 'default', message: undefined, duration: 3 }

async function scrape(address: string, path = '/metrics', method = 'GET') {
  const response = await fetch(`http://${address}${path}`, { method })
  return { status: response.status, text: await response.text() }
}

describe('createMetrics', () => {
  it('counts calls and their latency by service, method and code', async () => {
    const metrics = createMetrics()
    metrics.observe({ ...record, code: 0 })
    metrics.observe({ ...record, code: 0 })
    metrics.observe({ ...record, code: 5 })
    metrics.observe({ ...record, code: 1 })
    await using listener = await metrics.listen('127.0.0.1:0')
    const { status, text } = await scrape(listener.address)
    expect(status).toBe(200)
    const labels = 'grpc_service="s.S",grpc_method="M",grpc_code='
    expect(text).toContain(`grpc_server_handled_total{${labels}"OK"} 2`)
    expect(text).toContain(`grpc_server_handled_total{${labels}"NotFound"} 1`)
    expect(text).toContain(`grpc_server_handled_total{${labels}"Canceled"} 1`)
    expect(text).toContain(`grpc_server_handling_seconds_bucket{le="0.0025",${labels}"OK"} 0`)
    expect(text).toContain(`grpc_server_handling_seconds_bucket{le="0.005",${labels}"OK"} 2`)
    expect(text).toContain('process_cpu_seconds_total')
  })

  it('reads gauges at each scrape, and drops values that are no longer there', async () => {
    const metrics = createMetrics()
    let readings = [{ labels: { status: 'running' }, value: 2 }]
    metrics.gauge('flotilla_tasks', 'Tasks.', ['status'], async () => readings)
    expect(await metrics.text()).toContain('flotilla_tasks{status="running"} 2')
    readings = [{ labels: { status: 'stopped' }, value: 1 }]
    const text = await metrics.text()
    expect(text).toContain('flotilla_tasks{status="stopped"} 1')
    expect(text).not.toContain('status="running"')
  })

  it('serves the rest when one gauge cannot be read', async () => {
    const metrics = createMetrics()
    metrics.gauge('flotilla_broken', 'Broken.', [], async () => {
      throw new Error('store away')
    })
    metrics.gauge('flotilla_fine', 'Fine.', [], async () => [{ value: 7 }])
    await metrics.text()
    const text = await metrics.text()
    expect(text).toContain('flotilla_fine 7')
    expect(text).not.toMatch(/^flotilla_broken /m)
    expect(text).toMatch(/flotilla_collect_errors_total\{metric="flotilla_broken"\} [12]/)
  })

  it('is at both paths, and at no other', async () => {
    await using listener = await createMetrics().listen('127.0.0.1:0')
    for (const path of ['/metrics', '/v1/metrics']) {
      expect((await scrape(listener.address, path)).status).toBe(200)
      expect((await scrape(listener.address, path, 'POST')).status).toBe(405)
    }
    expect((await scrape(listener.address, '/')).status).toBe(404)
  })

  it('keeps two processes apart', async () => {
    const [one, two] = [createMetrics(), createMetrics()]
    one.observe({ ...record, code: 0 })
    expect(await two.text()).not.toContain('grpc_code="OK"')
  })
})

describe('the listener', () => {
  it('answers only GET /metrics, and frees its port', async () => {
    const metrics = createMetrics()
    const listener = await metrics.listen('127.0.0.1:0')
    expect((await scrape(listener.address, '/')).status).toBe(404)
    expect((await scrape(listener.address, '/metrics', 'POST')).status).toBe(405)
    await listener[Symbol.asyncDispose]()
    await expect(fetch(`http://${listener.address}/metrics`)).rejects.toThrow()
    await using again = await metrics.listen(listener.address)
    expect(again.address).toBe(listener.address)
  })

  it.each(['nowhere', 'host:', 'host:x'])('refuses the address %s', async (address) => {
    await expect(createMetrics().listen(address)).rejects.toThrow(`"${address}" is not host:port`)
  })
})
