import { type CallObserver, status } from '@flotilla/rpc'
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import { listen, type MetricsListener } from './listener.ts'

/** One value of a gauge. */
export interface Reading {
  readonly labels?: Readonly<Record<string, string>>
  readonly value: number
}

/** The numbers of one process. */
export interface Metrics {
  /** Counts finished calls of a gRPC server. */
  readonly observe: CallObserver
  /**
   * A gauge that is read at each scrape. A reader that fails leaves the gauge out of that scrape and is counted.
   *
   * @example metrics.gauge('flotilla_tasks', 'Tasks by status.', ['status'], async () => [{ labels: …, value: 3 }])
   */
  gauge(name: string, help: string, labels: readonly string[], read: () => Promise<readonly Reading[]>): void
  /** All of it in Prometheus' text format. */
  text(): Promise<string>
  /** Serves `/metrics` at `host:port` (port 0 picks one). */
  listen(address: string): Promise<MetricsListener>
}

// Go's spelling, which dashboards for gRPC servers expect: NOT_FOUND is NotFound, CANCELLED is Canceled.
const codes = new Map<number, string>(
  Object.entries(status).flatMap(([name, code]) =>
    typeof code === 'number' ? [[code, name === 'CANCELLED' ? 'Canceled' : goName(name)] as const] : [],
  ),
)

function goName(name: string): string {
  if (name === 'OK') return name
  return name
    .split('_')
    .map((word) => word.charAt(0) + word.slice(1).toLowerCase())
    .join('')
}

// Seconds. A call in one process takes a fraction of a millisecond; a pull takes minutes.
const buckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60]

/** Makes the registry of a process, filled with the process's own numbers (memory, CPU, event loop). */
export function createMetrics(): Metrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const labelNames = ['grpc_service', 'grpc_method', 'grpc_code'] as const
  const handled = new Counter({
    name: 'grpc_server_handled_total',
    help: 'Finished calls by service, method and code.',
    labelNames,
    registers: [registry],
  })
  const duration = new Histogram({
    name: 'grpc_server_handling_seconds',
    help: 'How long calls took, streams from opening to end.',
    labelNames,
    buckets,
    registers: [registry],
  })
  const unread = new Counter({
    name: 'flotilla_collect_errors_total',
    help: 'Gauges that could not be read.',
    labelNames: ['metric'],
    registers: [registry],
  })
  const metrics: Metrics = {
    observe(record) {
      const labels = {
        grpc_service: record.service,
        grpc_method: record.method,
        grpc_code: codes.get(record.code) ?? String(record.code),
      }
      handled.inc(labels)
      duration.observe(labels, record.duration / 1_000)
    },
    gauge(name, help, labels, read) {
      new Gauge({
        name,
        help,
        labelNames: labels,
        registers: [registry],
        async collect() {
          this.reset()
          try {
            for (const reading of await read()) this.set({ ...reading.labels }, reading.value)
          } catch {
            // With labels, an emptied gauge has no series; without, it would tell 0.
            if (labels.length > 0) this.reset()
            else this.remove()
            unread.inc({ metric: name })
          }
        },
      })
    },
    text: () => registry.metrics(),
    listen: (address) => listen(address, metrics),
  }
  return metrics
}
