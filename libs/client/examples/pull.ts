// Pulls an image and shows how it goes on. `FLOTILLA_PLAIN_HTTP=1` for a registry without TLS.
import { pull } from '@flotilla/client'
import { connect, image } from './world.ts'

using client = connect()
const record = await pull(client, image, {
  plainHttp: process.env.FLOTILLA_PLAIN_HTTP === '1',
  onProgress: ({ event, name, done, total }) => console.error(`${event} ${name} ${done}/${total}`),
})
console.log(record.name, record.target?.digest)
