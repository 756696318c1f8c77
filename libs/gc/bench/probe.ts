import { parentPort, workerData } from 'node:worker_threads'
import { connectRedis } from '@flotilla/metadata'
import { measure } from '../src/testing/latency.ts'

// Sends one command after the other to Redis until it is told to stop, then tells how long they took.
const redis = connectRedis({ url: workerData })
while (redis.status !== 'ready') await new Promise((resolve) => setTimeout(resolve, 5))
let over = false
parentPort?.once('message', () => {
  over = true
})
parentPort?.postMessage('ready')
const latencies = await measure(
  () => redis.ping(),
  () => over,
)
parentPort?.postMessage(String(latencies))
redis.disconnect()
