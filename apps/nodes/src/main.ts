import { part, runApp } from '@flotilla/compose'

await runApp({ name: 'nodes', about: 'the nodes service in a process of its own', parts: [part.nodes] })
