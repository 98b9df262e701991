# rangeseg in a container: docker build -t rangeseg . && docker run --rm -v DATA:/data rangeseg predict /data/000000.bin
# With CUDA: docker build --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu126 -t rangeseg:cuda . and then
# docker run --gpus all; torch's wheels bring CUDA's libraries, the host its driver and NVIDIA's container toolkit.
FROM python:3.12-slim-bookworm

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=export,bags,las,int8,ros2

WORKDIR /app
COPY constraints.txt ./
RUN pip install --no-cache-dir -c constraints.txt --index-url "${TORCH_INDEX}" torch
COPY pyproject.toml setup.py MANIFEST.in README.md LICENSE ./
COPY rangeseg ./rangeseg
COPY configs ./configs
COPY datasets ./datasets
RUN pip install --no-cache-dir -c constraints.txt ".[${EXTRAS}]" \
    && useradd --create-home rangeseg

USER rangeseg
ENV NUMBA_CACHE_DIR=/home/rangeseg/.cache/numba
WORKDIR /home/rangeseg
ENTRYPOINT ["rangeseg"]
CMD ["--help"]
