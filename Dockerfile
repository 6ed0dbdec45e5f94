# docker build -t dalda . && docker run --rm -it --gpus all --user "$(id -u):$(id -g)" -v "$PWD:/data" dalda augment photos -o more --model sd15
FROM python:3.12-slim
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
# torch as on PyPI brings CUDA; the pin of its version is the only one that may be given another build of it.
RUN pip install --no-cache-dir -c constraints.txt '.[llm,review,hf,lora,download]'
# What is fetched and computed once is kept where the data are, whoever runs the container.
ENV DALDA_CACHE=/data/.dalda-cache HF_HOME=/data/.dalda-cache/huggingface
WORKDIR /data
ENTRYPOINT ["dalda"]
CMD ["--help"]
