// Makes an empty container in Azurite: node -e "$(cat container.js)" HOST:PORT NAME
// Account and key are the emulator's, which every client has built in.
const crypto = require('crypto');
const http = require('http');

const [address, name] = process.argv.slice(1);
const [host, port] = address.split(':');
const account = 'devstoreaccount1';
const key = Buffer.from('Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==', 'base64');
const date = new Date().toUTCString();
const version = '2021-08-06';

const empty = Array(11).fill('');
const signed = ['PUT', ...empty, `x-ms-date:${date}`, `x-ms-version:${version}`, `/${account}/${account}/${name}`, 'restype:container'];
const signature = crypto.createHmac('sha256', key).update(signed.join('\n'), 'utf8').digest('base64');
const headers = {'x-ms-date': date, 'x-ms-version': version, authorization: `SharedKey ${account}:${signature}`, 'content-length': 0};
const path = `/${account}/${name}?restype=container`;
const request = http.request({host, port, method: 'PUT', path, headers}, answer => {
  answer.on('data', data => process.stderr.write(data));
  answer.on('end', () => process.exit(answer.statusCode === 201 ? 0 : 1));
});
request.end();
