import { runApp } from '@flotilla/compose'

await runApp({
  name: 'gateway',
  about: 'the node socket, in front of services in processes of their own',
  parts: [],
  isGateway: true,
})
