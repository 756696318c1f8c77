// Lists images and containers of a namespace, with the node of each container.
import { connect } from './world.ts'

using client = connect()
const { images } = await client.images.list({})
for (const image of images) console.log(`image ${image.name} ${image.target?.digest}`)
for await (const { container } of client.containers.listStream({}))
  console.log(`container ${container?.id} on ${container?.labels['flotilla.io/node']}`)
